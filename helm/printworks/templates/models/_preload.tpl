{{- define "printworks.preloadSpec" -}}
{{- $of := merge (dict "podLabels" (dict) "podAnnotations" (dict)) .Values.models.preload }}
{{- $names := dict "root" . "component" "preload" "of" $of "node" .Values.singleNode -}}
backoffLimit: {{ int $of.retries }}
template:
  metadata:
    {{- include "printworks.podMetadata" (merge (dict "annotations" (include "printworks.evictable" . | fromYaml)) $names) | nindent 4 }}
  spec:
    restartPolicy: OnFailure
    {{- include "printworks.identity" $names | nindent 4 }}
    containers:
      {{- include "printworks.preloadContainer" (dict "root" . "image" .Values.images.worker "words" (list "python" "-m" "worker.gpu.preload")) | nindent 6 }}
    volumes:
      {{- include "printworks.tmpVolume" . | nindent 6 }}
      {{- include "printworks.modelsVolume" . | nindent 6 }}
      {{- include "printworks.modelsFileVolume" . | nindent 6 }}
    {{- include "printworks.placement" $names | nindent 4 }}
{{- end }}
