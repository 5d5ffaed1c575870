"""`collect`: record episodes of policies, oracles, recipes and training runs."""
