"""The `whet` command: the verbs in `main`, those of `whet bench` in `bench`, what they share in `shared`."""

from whet.cli.main import main as main
