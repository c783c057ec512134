# The root module's, which documents them and has the defaults.

variable "namespace" {
  type = string

  validation {
    condition     = can(regex("^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", var.namespace))
    error_message = "namespace: a DNS label, at most 63 of a-z, 0-9 and '-'."
  }
}

variable "jobs_namespace" {
  type = string

  validation {
    condition     = can(regex("^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", var.jobs_namespace))
    error_message = "jobs_namespace: a DNS label, at most 63 of a-z, 0-9 and '-'."
  }
}

variable "labels" {
  type = map(string)
}

variable "jobs" {
  type = object({
    total_cpu      = optional(number, 64)
    total_memory   = optional(string, "256Gi")
    total_gpus     = optional(number, 8)
    total_jobs     = optional(number, 200)
    total_storage  = optional(string, "2Ti")
    default_cpu    = optional(number, 1)
    default_memory = optional(string, "2Gi")
    most_cpu       = optional(number, 32)
    most_memory    = optional(string, "128Gi")
    most_gpus      = optional(number, 8)
  })

  validation {
    condition     = var.jobs.default_cpu <= var.jobs.most_cpu && var.jobs.most_cpu <= var.jobs.total_cpu
    error_message = "jobs: default_cpu is at most most_cpu, and that at most total_cpu."
  }

  validation {
    condition     = var.jobs.total_gpus >= 0 && var.jobs.most_gpus <= var.jobs.total_gpus
    error_message = "jobs: most_gpus is at most total_gpus."
  }

  validation {
    condition = alltrue([
      for quantity in [var.jobs.total_memory, var.jobs.total_storage, var.jobs.default_memory, var.jobs.most_memory] :
      can(regex("^[1-9][0-9]*(Mi|Gi|Ti)$", quantity))
    ])
    error_message = "jobs: memory and storage are whole numbers with Mi, Gi or Ti."
  }
}

variable "serving" {
  type = object({
    config_maps = optional(list(string), ["oppen-gateway"])
    deployments = optional(list(string), ["oppen-gateway"])
    canaries    = optional(list(string), [])
  })

  # An empty list of names would mean every object of the kind.
  validation {
    condition     = length(var.serving.config_maps) > 0 && length(var.serving.deployments) > 0
    error_message = "serving: name at least one ConfigMap and one Deployment; no names would mean all of them."
  }
}

variable "gpu_pool" {
  type = object({
    label = optional(string, "oppen/pool")
    value = optional(string, "gpu")
    nodes = optional(set(string), [])
  })
}

variable "network" {
  type = object({
    api_server_cidrs = optional(list(string), [])
    api_server_ports = optional(list(number), [443, 6443])
    job_egress       = optional(list(object({ cidr = string, ports = list(number) })), [])
    service_egress   = optional(list(object({ cidr = string, ports = list(number) })), [])
    callers          = optional(list(string), [])
    dns_namespace    = optional(string, "kube-system")
  })

  validation {
    condition = alltrue([
      for block in concat(
        var.network.api_server_cidrs,
        [for way in var.network.job_egress : way.cidr],
        [for way in var.network.service_egress : way.cidr],
      ) : can(cidrhost(block, 0))
    ])
    error_message = "network: every address is a CIDR, such as 10.0.0.0/16."
  }

  validation {
    condition     = alltrue([for way in concat(var.network.job_egress, var.network.service_egress) : length(way.ports) > 0])
    error_message = "network: name the ports of every way out; no ports would mean all of them."
  }
}
