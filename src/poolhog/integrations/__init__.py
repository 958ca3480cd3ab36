"""What runs in somebody else's program: an application of its own that a service can mount."""
