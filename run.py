"""The one program: `python run.py COMMAND`.  Everything lives in trajrl.cli."""

from trajrl.__main__ import main

if __name__ == "__main__":
    main()
