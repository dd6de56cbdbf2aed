"""Find a good neural network without training the candidates."""
