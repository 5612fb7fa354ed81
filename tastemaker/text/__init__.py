"""Text: product and history texts, shopper profiles, prompts and the parsing of answers."""
