"""What HTTP says of a page: parameters, filters, envelopes, links."""
