"""The one training loop for everything that trains: recipes, schedules, exact resume."""
