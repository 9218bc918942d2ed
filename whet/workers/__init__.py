"""Trainings of one search spread over processes and machines, by Ray."""
