# The customer's side of Strongroom on Google Cloud. Who may do what is decided in ./policies; this
# folder makes the buckets, keys and identities that carry it.

data "google_storage_project_service_account" "this" {
  project = var.project
}

module "policies" {
  source = "./policies"

  data_bucket              = var.data_bucket
  audit_bucket             = var.audit_bucket
  input_prefixes           = var.input_prefixes
  outputs_prefix           = var.outputs_prefix
  audit_prefix             = var.audit_prefix
  broker_subject           = var.broker_subject
  log_subject              = var.log_subject
  confidential_space_image = var.confidential_space_image
  service_accounts         = { for account, made in google_service_account.this : account => made.email }
}
