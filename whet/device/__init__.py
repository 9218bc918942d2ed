"""Measuring on another machine: the server that runs there, and what asks it."""
