# The customer's side of Strongroom on AWS. Who may do what is decided in ./policies; this folder
# makes the buckets, keys and roles that carry those documents.

data "aws_caller_identity" "this" {}
data "aws_partition" "this" {}
data "aws_region" "this" {}

locals {
  log_bucket        = "${var.data_bucket}-logs"
  oidc_provider_arn = var.oidc_provider_arn != null ? var.oidc_provider_arn : aws_iam_openid_connect_provider.this[0].arn
}

module "policies" {
  source = "./policies"

  partition          = data.aws_partition.this.partition
  account_id         = data.aws_caller_identity.this.account_id
  region             = data.aws_region.this.name
  name               = var.name
  data_bucket        = var.data_bucket
  audit_bucket       = var.audit_bucket
  log_bucket         = local.log_bucket
  input_prefixes     = var.input_prefixes
  outputs_prefix     = var.outputs_prefix
  audit_prefix       = var.audit_prefix
  owner_prefixes     = var.owner_prefixes
  issuer_url         = var.issuer_url
  oidc_provider_arn  = local.oidc_provider_arn
  audience           = var.audience
  broker_subject     = var.broker_subject
  log_subject        = var.log_subject
  owner_subject      = var.owner_subject
  auditor_arns       = var.auditor_arns
  key_administrators = var.key_administrators
  vpc_endpoint_ids   = var.vpc_endpoint_ids
  key_arns           = { data = aws_kms_key.this["data"].arn, audit = aws_kms_key.this["audit"].arn }
}
