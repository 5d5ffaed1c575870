"""`python -m trajrl COMMAND` is `trajrl COMMAND`, and `python run.py COMMAND` of a checkout."""

from trajrl.core.interrupt import leave_when_interrupted


def main() -> None:
    """Run the command line; Ctrl-C is clean from here on, while its imports take their second too."""
    leave_when_interrupted()
    from trajrl.cli.main import main as run_command

    try:
        run_command()
    finally:
        leave_when_interrupted()


if __name__ == "__main__":
    main()
