"""The recorder inside the application's process: state in memory, written by a thread."""
