"""Files packed to the fewest bytes that give them back: weights by adaptive arithmetic coding, the rest by LZMA."""
