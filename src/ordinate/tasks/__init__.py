"""What is measured: data, a protocol and metrics, one file a task."""
