"""What is measured of a trained model: probes, neighbours, errors."""
