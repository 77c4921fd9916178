"""The words everything else uses: contents, scores, policies, verdicts, errors. Standard library only."""
