"""`python -m trajrl COMMAND` is `python run.py COMMAND` where there is no checkout."""

from trajrl.cli.main import main

if __name__ == "__main__":
    main()
