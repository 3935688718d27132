variable "name" {
  description = "Start of the names of roles, trail and key aliases."
  type        = string
  default     = "strongroom"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,40}[a-z0-9]$", var.name))
    error_message = "name must be 3 to 42 lower-case letters, digits and hyphens, starting with a letter."
  }
}

variable "data_bucket" {
  description = "Name of the new bucket for datasets, models, sealed evaluators and runs."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,55}[a-z0-9]$", var.data_bucket))
    error_message = "data_bucket must be 3 to 57 lower-case letters, digits and hyphens (no dots: they break TLS names)."
  }
}

variable "audit_bucket" {
  description = "Name of the new bucket for the audit log. Another one than `data_bucket`."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.audit_bucket))
    error_message = "audit_bucket must be 3 to 63 lower-case letters, digits and hyphens (no dots: they break TLS names)."
  }
}

variable "input_prefixes" {
  description = "Prefixes of the data bucket that runs may read: datasets, base models, sealed evaluators. Name them as narrowly as you can."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(var.input_prefixes) > 0 && length(var.input_prefixes) <= 50
    error_message = "input_prefixes must hold 1 to 50 prefixes."
  }

  validation {
    condition     = alltrue([for prefix in var.input_prefixes : can(regex("^([A-Za-z0-9][A-Za-z0-9._=+@-]*/)+$", prefix))])
    error_message = "each of input_prefixes must be folders such as datasets/feedback/train/: ending in '/', no wildcard, not the bucket's root."
  }
}

variable "outputs_prefix" {
  description = "Prefix of the data bucket under which each run creates one folder."
  type        = string
  default     = "runs/"
  nullable    = false

  validation {
    condition     = can(regex("^([A-Za-z0-9][A-Za-z0-9._=+@-]*/)+$", var.outputs_prefix))
    error_message = "outputs_prefix must be folders such as runs/: ending in '/', no wildcard, not the bucket's root."
  }
}

variable "audit_prefix" {
  description = "Prefix of the audit log in the audit bucket."
  type        = string
  default     = "strongroom/"
  nullable    = false

  validation {
    condition     = can(regex("^([A-Za-z0-9][A-Za-z0-9._=+@-]*/)+$", var.audit_prefix))
    error_message = "audit_prefix must be folders such as strongroom/: ending in '/', no wildcard, not the bucket's root."
  }
}

variable "owner_prefixes" {
  description = "Prefixes of the data bucket where the data's owner reads and creates. Used with `owner_subject` only."
  type        = list(string)
  default     = ["datasets/", "evaluators/", "models/"]
  nullable    = false

  validation {
    condition     = length(var.owner_prefixes) > 0 && alltrue([for prefix in var.owner_prefixes : can(regex("^([A-Za-z0-9][A-Za-z0-9._=+@-]*/)+$", prefix))])
    error_message = "owner_prefixes must hold folders such as datasets/: ending in '/', no wildcard, not the bucket's root."
  }
}

variable "issuer_url" {
  description = "Issuer of the brokers' identity tokens, `<OpenBao or Vault address>/v1/identity/oidc`. AWS must reach its `.well-known` pages."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^https://[a-z0-9.-]+(/[A-Za-z0-9._~-]+)*$", var.issuer_url))
    error_message = "issuer_url must be https://host/path without port, query or a slash at its end, exactly as in the tokens' iss."
  }
}

variable "oidc_provider_arn" {
  description = "ARN of an IAM OIDC provider that the account already has for `issuer_url`. Null: the module makes one."
  type        = string
  default     = null

  validation {
    condition     = var.oidc_provider_arn == null || can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:oidc-provider/.+$", var.oidc_provider_arn))
    error_message = "oidc_provider_arn must be arn:aws:iam::<account>:oidc-provider/<issuer without https://>."
  }
}

variable "audience" {
  description = "The only `aud` that may assume a role: the client id of the issuer's OIDC role."
  type        = string
  default     = "strongroom"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9._:/-]{0,254}$", var.audience))
    error_message = "audience must be 1 to 255 letters, digits and . _ : / -, without a wildcard."
  }
}

variable "broker_subject" {
  description = "The only `sub` that may assume the roles of runs: the broker's entity id at OpenBao or Vault."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9._:@/-]{0,254}$", var.broker_subject))
    error_message = "broker_subject must be one exact subject of 1 to 255 characters, without a wildcard."
  }
}

variable "log_subject" {
  description = "The only `sub` that may assume the role that writes the audit log: the entity id of the releaser's identity for it."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9._:@/-]{0,254}$", var.log_subject))
    error_message = "log_subject must be one exact subject of 1 to 255 characters, without a wildcard."
  }
}

variable "owner_subject" {
  description = "The only `sub` that may assume the role of the data's owner. Null: no such role is made."
  type        = string
  default     = null

  validation {
    condition     = var.owner_subject == null || can(regex("^[A-Za-z0-9][A-Za-z0-9._:@/-]{0,254}$", var.owner_subject))
    error_message = "owner_subject must be null or one exact subject of 1 to 255 characters, without a wildcard."
  }
}

variable "auditor_arns" {
  description = "ARNs of IAM roles or users, of this or another account, that may read the audit log, its earlier versions too, and nothing else. They must exist."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.auditor_arns : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:(role|user)/[A-Za-z0-9+=,.@_/-]+$", arn))])
    error_message = "each of auditor_arns must be the ARN of an IAM role or user, without a wildcard."
  }
}

variable "key_administrators" {
  description = "ARNs of IAM roles or users that may administer the keys (and use none), beside the account's own IAM."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.key_administrators : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:(role|user)/[A-Za-z0-9+=,.@_/-]+$", arn))])
    error_message = "each of key_administrators must be the ARN of an IAM role or user, without a wildcard."
  }
}

variable "key_deletion_days" {
  description = "Days between the order to delete a key and its deletion, 7 to 30."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = var.key_deletion_days >= 7 && var.key_deletion_days <= 30 && floor(var.key_deletion_days) == var.key_deletion_days
    error_message = "key_deletion_days must be a whole number from 7 to 30."
  }
}

variable "audit_retention_days" {
  description = "Days for which nobody can change or remove what was logged. There is no default: under COMPLIANCE it cannot be shortened, by AWS neither."
  type        = number
  nullable    = false

  validation {
    condition     = var.audit_retention_days >= 1 && var.audit_retention_days <= 36500 && floor(var.audit_retention_days) == var.audit_retention_days
    error_message = "audit_retention_days must be a whole number from 1 to 36500."
  }
}

variable "audit_retention_mode" {
  description = "COMPLIANCE or GOVERNANCE. The shipped admission policy accepts COMPLIANCE only."
  type        = string
  default     = "COMPLIANCE"
  nullable    = false

  validation {
    condition     = contains(["COMPLIANCE", "GOVERNANCE"], var.audit_retention_mode)
    error_message = "audit_retention_mode must be COMPLIANCE or GOVERNANCE."
  }
}

variable "abort_uploads_after_days" {
  description = "Days after which parts of an unfinished upload are removed, 1 to 30."
  type        = number
  default     = 7
  nullable    = false

  validation {
    condition     = var.abort_uploads_after_days >= 1 && var.abort_uploads_after_days <= 30 && floor(var.abort_uploads_after_days) == var.abort_uploads_after_days
    error_message = "abort_uploads_after_days must be a whole number from 1 to 30."
  }
}

variable "access_log_days" {
  description = "Days for which S3's access logs are kept, 1 to 3650. CloudTrail's files do not expire."
  type        = number
  default     = 400
  nullable    = false

  validation {
    condition     = var.access_log_days >= 1 && var.access_log_days <= 3650 && floor(var.access_log_days) == var.access_log_days
    error_message = "access_log_days must be a whole number from 1 to 3650."
  }
}

variable "cloudtrail" {
  description = "Whether to record each object's reads and writes with a CloudTrail trail (it costs per event), beside the buckets' own access logs. The key of its files is made either way."
  type        = bool
  default     = true
  nullable    = false
}

variable "vpc_endpoint_ids" {
  description = "S3 VPC endpoints through which alone the roles reach the buckets. Empty: from any network."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for id in var.vpc_endpoint_ids : can(regex("^vpce-[0-9a-f]{8,17}$", id))])
    error_message = "each of vpc_endpoint_ids must be vpce- and 8 to 17 hexadecimal digits."
  }
}

variable "tags" {
  description = "Tags for everything that takes tags."
  type        = map(string)
  default     = {}
  nullable    = false
}
