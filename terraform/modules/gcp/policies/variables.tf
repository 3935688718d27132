variable "data_bucket" {
  description = "Name of the bucket with datasets, models, sealed evaluators and runs."
  type        = string
  nullable    = false
}

variable "audit_bucket" {
  description = "Name of the bucket with the audit log."
  type        = string
  nullable    = false
}

variable "input_prefixes" {
  description = "Prefixes of the data bucket that runs may read."
  type        = list(string)
  nullable    = false
}

variable "outputs_prefix" {
  description = "Prefix of the data bucket under which each run creates one folder."
  type        = string
  nullable    = false
}

variable "audit_prefix" {
  description = "Prefix of the audit log in the audit bucket."
  type        = string
  nullable    = false
}

variable "broker_subject" {
  description = "The only `sub` that may act as the service accounts of runs."
  type        = string
  nullable    = false
}

variable "log_subject" {
  description = "The only `sub` that may act as the service account that writes the log."
  type        = string
  nullable    = false
}

variable "confidential_space_image" {
  description = "Digest of the only container image that the Confidential Space form accepts."
  type        = string
  default     = null
}

variable "service_accounts" {
  description = "E-mail address of each service account: inputs, runs, audit, log."
  type        = object({ inputs = string, runs = string, audit = string, log = string })
  nullable    = false
}
