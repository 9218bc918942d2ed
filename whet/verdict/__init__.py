"""Files in production: what a finished file scores and takes, and whether that is within limits."""
