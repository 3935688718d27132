variable "name" {
  description = "Start of the names of policies, roles and entities."
  type        = string
  default     = "strongroom"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,40}[a-z0-9]$", var.name))
    error_message = "name must be 3 to 42 lower-case letters, digits and hyphens, starting with a letter."
  }
}

variable "address" {
  description = "URL at which brokers, releasers and the buckets' token service reach OpenBao or Vault. It becomes the issuer of identity tokens."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^https://[a-z0-9.-]+(:[0-9]{1,5})?$", var.address))
    error_message = "address must be https://host or https://host:port, without a path or a slash at its end."
  }
}

variable "transit_mount" {
  description = "Path at which the module mounts a transit engine."
  type        = string
  default     = "transit"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$", var.transit_mount))
    error_message = "transit_mount must be path segments of letters, digits, _ and -, without slashes at its ends."
  }
}

variable "data_keys" {
  description = "Names of keys that wrap datasets' keysets, one for each group of datasets that is opened together."
  type        = set(string)
  nullable    = false

  validation {
    condition     = length(var.data_keys) > 0 && alltrue([for key in var.data_keys : can(regex("^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$", key))])
    error_message = "data_keys must hold one or more names of 1 to 63 letters, digits and _ . -, such as feedback."
  }
}

variable "outputs_keys" {
  description = "Names of keys that wrap the keysets of what runs write."
  type        = set(string)
  nullable    = false

  validation {
    condition     = length(var.outputs_keys) > 0 && alltrue([for key in var.outputs_keys : can(regex("^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$", key))])
    error_message = "outputs_keys must hold one or more names of 1 to 63 letters, digits and _ . -, such as feedback-outputs."
  }
}

variable "audit_key" {
  description = "Name of the Ed25519 key that signs the audit log."
  type        = string
  default     = "audit-log"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$", var.audit_key))
    error_message = "audit_key must be 1 to 63 letters, digits and _ . -."
  }
}

variable "signer_key" {
  description = "Name of the Ed25519 key that signs datasets' manifests."
  type        = string
  default     = "dataset-signer"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$", var.signer_key))
    error_message = "signer_key must be 1 to 63 letters, digits and _ . -."
  }
}

variable "audience" {
  description = "The `aud` of identity tokens: `audience` of modules/aws or modules/gcp."
  type        = string
  default     = "strongroom"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9._:/-]{0,254}$", var.audience))
    error_message = "audience must be 1 to 255 letters, digits and . _ : / -, without a wildcard."
  }
}

variable "identity_token_ttl_s" {
  description = "Seconds for which an identity token lives, 60 to 900."
  type        = number
  default     = 300
  nullable    = false

  validation {
    condition     = var.identity_token_ttl_s >= 60 && var.identity_token_ttl_s <= 900 && floor(var.identity_token_ttl_s) == var.identity_token_ttl_s
    error_message = "identity_token_ttl_s must be a whole number from 60 to 900."
  }
}

variable "login_ttl_s" {
  description = "Seconds for which a login lives, 60 to 900; it cannot be renewed beyond."
  type        = number
  default     = 900
  nullable    = false

  validation {
    condition     = var.login_ttl_s >= 60 && var.login_ttl_s <= 900 && floor(var.login_ttl_s) == var.login_ttl_s
    error_message = "login_ttl_s must be a whole number from 60 to 900."
  }
}

variable "bound_cidrs" {
  description = "Networks from which each identity may log in and use its token: broker, log, releaser, sealer, owner. An identity that is left out may from anywhere."
  type        = map(list(string))
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for identity in keys(var.bound_cidrs) : contains(["broker", "log", "releaser", "sealer", "owner"], identity)])
    error_message = "bound_cidrs must have no other keys than broker, log, releaser, sealer and owner."
  }

  validation {
    condition     = alltrue([for cidr in flatten(values(var.bound_cidrs)) : can(cidrhost(cidr, 0)) && !endswith(cidr, "/0")])
    error_message = "bound_cidrs must hold networks such as 10.1.2.0/24; leave an identity out rather than name every address."
  }
}

variable "mount_approle" {
  description = "Whether the module mounts AppRole logins at `approle`. False where the server has them there already."
  type        = bool
  default     = true
  nullable    = false
}

variable "owner" {
  description = "Whether the data's owner gets an identity of their own, for `owner_subject` of modules/aws."
  type        = bool
  default     = false
  nullable    = false
}

variable "jwt" {
  description = "Lets workloads log in by a JWT of their own platform instead of an AppRole: issuer, the exact audience and the exact claims of each identity. Strongroom itself logs in by AppRole only. Null: no such login."
  type = object({
    issuer         = string
    audience       = string
    subject_claim  = optional(string, "sub")
    bound_subjects = map(string)
    bound_claims   = optional(map(map(string)), {})
  })
  default = null

  validation {
    condition     = var.jwt == null || can(regex("^https://[A-Za-z0-9._~/-]+$", var.jwt.issuer))
    error_message = "jwt.issuer must be an https:// URL without port or query."
  }

  validation {
    condition     = var.jwt == null || can(regex("^[^*]+$", var.jwt.audience))
    error_message = "jwt.audience must be one exact audience, without a wildcard."
  }

  validation {
    condition = var.jwt == null ? true : length(var.jwt.bound_subjects) > 0 && alltrue([
      for identity, subject in var.jwt.bound_subjects :
      contains(["broker", "log", "releaser", "sealer"], identity) && can(regex("^[^*]+$", subject))
    ])
    error_message = "jwt.bound_subjects must give one exact subject each, without a wildcard, to one or more of broker, log, releaser and sealer."
  }

  validation {
    condition     = var.jwt == null ? true : var.jwt.subject_claim == "sub" || length(setintersection(keys(var.jwt.bound_subjects), ["broker", "log"])) == 0
    error_message = "jwt.subject_claim must be sub where bound_subjects names broker or log: by that subject they are known in subjects."
  }

  validation {
    condition     = var.jwt == null ? true : alltrue([for identity in keys(var.jwt.bound_claims) : contains(keys(var.jwt.bound_subjects), identity)])
    error_message = "jwt.bound_claims must be for identities that jwt.bound_subjects names."
  }
}

variable "audit_file" {
  description = "File on the server into which Vault records every request, with secrets hashed. Null with OpenBao, which takes audit devices from its configuration file only (README)."
  type        = string
  default     = null

  validation {
    condition     = var.audit_file == null || can(regex("^/[A-Za-z0-9._/-]+$", var.audit_file))
    error_message = "audit_file must be null or an absolute path of letters, digits and . _ / -."
  }
}
