"""What to spend time on next: schedulers, which say it, and what they go by."""
