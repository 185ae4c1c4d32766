"""What is done with a trained model to change how it is used: cascades, composition, distillation."""
