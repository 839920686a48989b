"""Parts of both embedded models: words, the transformer, chat and answering."""
