"""What the embedded models share: words, the transformer, chat and answering."""
