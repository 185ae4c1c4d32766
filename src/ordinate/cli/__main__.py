"""`python -m ordinate.cli` is `ordinate`."""

from ordinate.cli.app import main

if __name__ == "__main__":
    main()
