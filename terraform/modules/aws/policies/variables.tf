variable "partition" {
  description = "AWS partition. Strongroom's session policies name the partition `aws`, so no other works."
  type        = string
  default     = "aws"
  nullable    = false

  validation {
    condition     = var.partition == "aws"
    error_message = "partition must be aws: Strongroom's session policies name no other."
  }
}

variable "account_id" {
  description = "The AWS account that owns buckets, keys and roles."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id must be the 12 digits of an AWS account."
  }
}

variable "region" {
  description = "The region of buckets and keys."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]{2,4}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region must be a region's name, such as eu-central-1."
  }
}

variable "name" {
  description = "Start of every role's name."
  type        = string
  nullable    = false
}

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

variable "log_bucket" {
  description = "Name of the bucket that takes access logs."
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

variable "owner_prefixes" {
  description = "Prefixes of the data bucket where the data's owner reads and creates."
  type        = list(string)
  nullable    = false
}

variable "issuer_url" {
  description = "Issuer of the web identity tokens."
  type        = string
  nullable    = false
}

variable "oidc_provider_arn" {
  description = "ARN of the IAM OIDC provider of that issuer."
  type        = string
  nullable    = false
}

variable "audience" {
  description = "The only `aud` that may assume a role."
  type        = string
  nullable    = false
}

variable "broker_subject" {
  description = "The only `sub` that may assume the roles of runs."
  type        = string
  nullable    = false
}

variable "log_subject" {
  description = "The only `sub` that may assume the role that writes the log."
  type        = string
  nullable    = false
}

variable "owner_subject" {
  description = "The only `sub` that may assume the owner's role. Null: there is no such role."
  type        = string
  default     = null
}

variable "auditor_arns" {
  description = "ARNs that may read the audit log and nothing else."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "key_administrators" {
  description = "ARNs that may administer keys beside the account, and use none."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "vpc_endpoint_ids" {
  description = "VPC endpoints through which alone the roles reach the buckets. Empty: any network."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "key_arns" {
  description = "ARNs of the keys of the data and the audit bucket."
  type        = object({ data = string, audit = string })
  nullable    = false
}
