"""The friend behind HTTP: an OpenAI-compatible API, a memory API and the web chat's own needs."""
