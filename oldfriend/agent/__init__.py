"""The friend: one turn of conversation, from hearing to remembering."""
