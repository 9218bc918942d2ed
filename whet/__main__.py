"""`python -m whet` is the `whet` command."""

from whet.cli import main

if __name__ == "__main__":
    main()
