"""What models are trained to do: losses as modules, with their teachers, heads and queues."""
