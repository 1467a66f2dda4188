"""The off-line experiment of the content bandit: many users side by side, one array operation a step for all of them.

People meet the items they rated, a policy picks, their real rating answers. What is chosen is bit for bit what the
policies of :mod:`recommender.policies` choose when they are asked user by user.
"""
