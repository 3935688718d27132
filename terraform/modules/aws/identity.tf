# Web identities instead of long-lived keys: who shows a token with exactly this `aud` and `sub`
# assumes a role, and each lease narrows it by a session policy.

resource "aws_iam_openid_connect_provider" "this" {
  count = var.oidc_provider_arn == null ? 1 : 0

  url            = var.issuer_url
  client_id_list = [var.audience]
  tags           = var.tags
}

resource "aws_iam_role" "this" {
  for_each = module.policies.role_names

  name                 = each.value
  description          = "Strongroom: ${each.key}"
  assume_role_policy   = module.policies.trust_policies[each.key]
  max_session_duration = 3600
  tags                 = var.tags
}

resource "aws_iam_role_policy" "this" {
  for_each = module.policies.role_names

  name   = "strongroom"
  role   = aws_iam_role.this[each.key].name
  policy = module.policies.role_policies[each.key]
}

# Nothing else may be attached: what somebody adds by hand goes away with the next apply.
resource "aws_iam_role_policies_exclusive" "this" {
  for_each = module.policies.role_names

  role_name    = aws_iam_role.this[each.key].name
  policy_names = [aws_iam_role_policy.this[each.key].name]
}

resource "aws_iam_role_policy_attachments_exclusive" "this" {
  for_each = module.policies.role_names

  role_name   = aws_iam_role.this[each.key].name
  policy_arns = []
}
