"""What a network reads of products and shoppers: learnt vectors, adapted text vectors, features."""
