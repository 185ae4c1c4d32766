"""What a person sees of the evidence: the listing and its search, figures, the HTML gallery, and the generated parts of the README."""
