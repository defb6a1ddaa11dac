-- slurm.conf: JobSubmitPlugins=lua; scale.yaml: service.watch: [{kind: file, path: /run/slurm/vafnebula}]
--
-- One line for each job that is submitted or changed.  Appending to a file in /run takes microseconds, and slurmctld
-- holds its locks meanwhile; a socket would need a library that Slurm's Lua does not have.

local function look()
   local bell = io.open("/run/slurm/vafnebula", "a")
   if bell then
      if bell:seek("end") > 65536 then
         bell:close()
         bell = io.open("/run/slurm/vafnebula", "w")
      end
      bell:write("look\n")
      bell:close()
   end
end

function slurm_job_submit(job, partitions, uid)
   look()
   return slurm.SUCCESS
end

function slurm_job_modify(job, record, partitions, uid)
   look()
   return slurm.SUCCESS
end

return slurm.SUCCESS
