"""What data invite a network to do, before any is trained."""
