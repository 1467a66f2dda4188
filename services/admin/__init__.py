"""What an operator does: topics, catalogue, releases, one rating, one question, the digest and the doctor."""
