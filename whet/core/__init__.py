"""The nouns of whet, under 1,500 lines: `net`, `space`, `passes`, `run`, `task`, `target`, `study`, `strategy`."""
