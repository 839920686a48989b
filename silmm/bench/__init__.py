"""Scoring images: requests to judges, answers by content, results, statistics, the leaderboard."""
