variable "namespace" {
  description = "Where the service, the gateway and their configuration live."
  type        = string
  default     = "oppen"
}

variable "jobs_namespace" {
  description = "Where training jobs run: apart from the service, so that they cannot reach its secrets. Must not be the service's."
  type        = string
  default     = "oppen-jobs"
}

variable "labels" {
  description = "Labels on everything, for cost and ownership."
  type        = map(string)
  default     = {}
}

variable "jobs" {
  description = "What all jobs together may hold, and one of them by default and at most. Cores, Kubernetes quantities, counts."
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
  default = {}
}

variable "secret" {
  description = "Name of the Secret, in the jobs' namespace, whose entries jobs may ask for by name: MLFLOW_TRACKING_URI and OPPEN_EVALUATION_KEY at least, the latter as the service has it; null for none, and nothing can train. Its content is not made here, so that it is in no state file."
  type        = string
  default     = null
}

variable "checkpoints" {
  description = "A volume that all nodes can mount, for jobs that go on where they were; null for none."
  type = object({
    size          = string
    storage_class = optional(string)
  })
  default = null
}

variable "serving" {
  description = "The ConfigMaps and Deployments in the service's namespace that the service may change: those, and no others."
  type = object({
    config_maps = optional(list(string), ["oppen-gateway"])
    deployments = optional(list(string), ["oppen-gateway"])
    canaries    = optional(list(string), [])
  })
  default = {}
}

variable "gpu_pool" {
  description = "The label that tells the GPU nodes, and, where nobody else taints them (a cloud's node pool does), their names."
  type = object({
    label = optional(string, "oppen/pool")
    value = optional(string, "gpu")
    nodes = optional(set(string), [])
  })
  default = {}
}

variable "spot_pool" {
  description = "The labels and the keys of the taints of nodes that may be taken away, as the cloud sets them; no labels for none."
  type = object({
    node_selector = optional(map(string), {})
    taints        = optional(list(string), [])
  })
  default = {}
}

variable "network" {
  description = "What is let through: everything else is denied. CIDRs of the API server, of what jobs read and write (object store, MLflow) by port, and namespaces that may call the service."
  type = object({
    api_server_cidrs = optional(list(string), [])
    api_server_ports = optional(list(number), [443, 6443])
    job_egress       = optional(list(object({ cidr = string, ports = list(number) })), [])
    service_egress   = optional(list(object({ cidr = string, ports = list(number) })), [])
    callers          = optional(list(string), [])
    dns_namespace    = optional(string, "kube-system")
  })
  default = {}
}
