"""The memory pool: journal, records, vectors, retrieval, change, forgetting and rights."""
