output "namespace" {
  description = "Of the service."
  value       = kubernetes_namespace_v1.this["service"].metadata[0].name
}

output "jobs_namespace" {
  value = kubernetes_namespace_v1.this["jobs"].metadata[0].name
}

output "service_account" {
  description = "That the service runs as."
  value       = kubernetes_service_account_v1.service.metadata[0].name
}

output "job_settings" {
  description = "For the service: what it writes into every job (tools.jobs.manifests.Settings, less the image)."
  value = {
    service_account    = kubernetes_service_account_v1.jobs.metadata[0].name
    secret             = var.secret
    checkpoints_claim  = one(kubernetes_persistent_volume_claim_v1.checkpoints[*].metadata[0].name)
    priority_class     = kubernetes_priority_class_v1.this["oppen-training"].metadata[0].name
    gpu_priority_class = kubernetes_priority_class_v1.this["oppen-gpu-training"].metadata[0].name
    gpu_node_selector  = module.plan.gpu_node_selector
    spot_node_selector = var.spot_pool.node_selector
    spot_taints        = var.spot_pool.taints
    capacity_record    = kubernetes_config_map_v1.capacity.metadata[0].name
  }
}

output "scaling_settings" {
  description = "For the service: where the keys of changes of scale are (tools.serving.replicas.Settings, less the Deployment's name)."
  value       = { record = kubernetes_config_map_v1.scaling.metadata[0].name }
}

output "serving_priority_class" {
  description = "For the gateway's Deployment."
  value       = kubernetes_priority_class_v1.this["oppen-serving"].metadata[0].name
}

output "gpu_taints" {
  description = "For whoever makes the GPU pool."
  value       = module.plan.gpu_taints
}
