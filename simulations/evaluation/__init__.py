"""How good the agents' judgement is: scenarios played on the platform's real parts, and scored against what was true."""
