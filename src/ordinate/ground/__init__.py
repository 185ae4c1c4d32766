"""What every floor stands on: errors a person can act on, files that survive a power cut, seeds, and the discovery of what a room holds."""
