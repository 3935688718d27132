variable "transit_mount" {
  description = "Path of the transit engine, without slashes at its ends."
  type        = string
  nullable    = false
}

variable "data_keys" {
  description = "Names of the transit keys that wrap datasets' keysets."
  type        = set(string)
  nullable    = false
}

variable "outputs_keys" {
  description = "Names of the transit keys that wrap runs' output keysets."
  type        = set(string)
  nullable    = false
}

variable "audit_key" {
  description = "Name of the transit key that signs the audit log."
  type        = string
  nullable    = false
}

variable "signer_key" {
  description = "Name of the transit key that signs datasets' manifests."
  type        = string
  nullable    = false
}

variable "broker_oidc_role" {
  description = "Name of the OIDC role that issues the broker's tokens."
  type        = string
  nullable    = false
}

variable "log_oidc_role" {
  description = "Name of the OIDC role that issues the releaser's tokens for the log's bucket."
  type        = string
  nullable    = false
}

variable "owner_oidc_role" {
  description = "Name of the OIDC role that issues the data owner's tokens. Null: there is none."
  type        = string
  default     = null
}
