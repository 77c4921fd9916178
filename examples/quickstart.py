"""Score a few comments with the packaged model and say what a policy makes of them."""

import json
from pathlib import Path

import gooseguard

rows = [
    json.loads(line) for line in (Path(__file__).parent / "comments.jsonl").read_text("utf-8").splitlines()
]
contents = [gooseguard.Content.from_text(row["text"], row.get("language")) for row in rows]

scorer = gooseguard.load()
policy = gooseguard.load_policy("default")
# Once, before the first content: does the model score what the policy acts on?
policy.check(scorer.categories, scorer.name)
print(f"model {scorer.name}, policy {policy.name}")

for row, scores in zip(rows, scorer.score(contents), strict=True):
    if isinstance(scores, gooseguard.ScoreError):
        # A content that cannot be scored is a person's to judge, never allowed.
        print(f"{row['id']:>4}  review  {scores.message}")
        continue
    verdict = gooseguard.decide(scores, policy, {gooseguard.Modality.TEXT})
    flagged = [category for category, is_flagged in verdict.flagged.items() if is_flagged]
    print(f"{row['id']:>4}  {verdict.action:<6}  {', '.join(flagged) or '-'}")
