"""Tables that rows look up: graph vectors, degrees, the ID embedding, and how several processes hold them."""
