"""How the demo's chat model is made: corpus, training, export, evaluation."""
